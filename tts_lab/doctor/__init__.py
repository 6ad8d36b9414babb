"""Whether this machine can do what tts_lab asks of it: each layer tried, with what to do where one fails."""
