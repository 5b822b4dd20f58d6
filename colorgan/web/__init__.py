"""What every HTTP application here shares: its address, its methods, its pages and its errors."""
