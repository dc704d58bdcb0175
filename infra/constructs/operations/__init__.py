"""Alarms and dashboard, and the limits on what the stack costs."""
