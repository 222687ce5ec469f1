"""The desktop app. Qt lives here; the engine, which knows nothing of it, in kiv_engine."""
