"""Working with datasets that exist: adopt, inspect, diff, merge, and finding leaks between splits."""
