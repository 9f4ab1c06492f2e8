"""The product where Marathon runs it: deployed from its charts, and found again."""
