"""What every transform has: its base class, typed parameters that check themselves, and shared arithmetic."""
