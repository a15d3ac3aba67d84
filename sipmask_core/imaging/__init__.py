"""Image files: which ones a folder holds, what they declare, and their pixels."""
