"""The embedded small world: text, chats, pairs, prompts and tests whose truth is known."""
