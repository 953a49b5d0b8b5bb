"""The figures of trioworkers, measured side by side with what they are compared to."""
