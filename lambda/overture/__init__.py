"""What Front and the storyteller share: protocol, sessions, leases, slots, the table, connections, settings.

`accounting/` says what a reply, a visit and a day used.
"""
