"""Compiled ink (`.ink.json`) as a prologue: the format (`content`), running it (`story`, `output`, `values`),
and the beats it becomes (`script`). Writing ink needs inkle's tools; playing it needs only this."""
