"""Know the data before training on it: measures of each clip, statistics of all, verdicts, and what to listen to."""
