"""Running chunks of work in parallel: executors, lost workers and retries, time limits, Ctrl-C and SIGTERM."""
