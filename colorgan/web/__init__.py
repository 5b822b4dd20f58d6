"""The parts that all HTTP applications share: listening, methods, pages and errors."""
