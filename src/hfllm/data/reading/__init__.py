"""Path or hub -> rows -> examples: documents, chats, pairs and prompts."""
