"""The same ports as local processes: `longshore dev`."""
