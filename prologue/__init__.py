"""Worlds: their prologues, written answers, facts and prompts. No torch, no AWS."""
