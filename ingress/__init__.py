"""The consumer that turns request records into workflow starts."""
