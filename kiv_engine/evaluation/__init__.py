"""`kiv eval` and `kiv bench`: tasks, the caches they are put to, and reports. Import what you need from its files."""
