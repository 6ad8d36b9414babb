"""A run's folder kept off the machine: what is there (`inventory`), the place (`remote`), to it and back again."""
