"""What a notebook touches: players, pictures, the report, and the runner that executes every notebook in order."""
