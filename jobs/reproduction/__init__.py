"""The reproduction of the 2018 report: its steps, their results, and the page that shows them."""
