"""Read files or the hub into examples: documents, chats, preference pairs and prompts."""
