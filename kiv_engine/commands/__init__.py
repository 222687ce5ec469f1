"""The commands of `kiv`, a file each: its options, and what it does. The only part of the library that prints."""
