"""What the gate checks, level by level."""
