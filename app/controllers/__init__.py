"""What the app does: from what the user wants to requests, and from the engine's events to the models."""
