"""DynamoDB: one table in memory, its expressions, and its API as HTTP."""
