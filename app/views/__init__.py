"""What the app shows: arrangement and painting. Views read models and say what the user did; they decide nothing."""
