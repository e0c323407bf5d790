"""What the ingress costs beside the bare client and beside the loop that people write by hand."""
