"""Published voices in, exported voices out: adopt, export, speak."""
