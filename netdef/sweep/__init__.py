"""Many runs of one net under different settings, and what came of each."""
