"""What draws a picture: HuggingFace, OpenAI, or this process itself."""
