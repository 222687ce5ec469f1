"""What the app knows: values with a signal that says when they change. No widgets, no decisions."""
