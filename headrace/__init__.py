"""What every process shares, and the command that runs them."""
