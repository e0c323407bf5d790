"""Analysis of data sets."""
