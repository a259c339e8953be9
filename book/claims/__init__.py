"""The claims of the paper and our own, and how they are judged."""
