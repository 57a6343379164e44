"""The plan, made before anything is written: which items to add, rebuild, move and keep, by fingerprint; what labels mean."""
