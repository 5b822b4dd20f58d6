"""The demo's results: test photographs coloured by its models, and the page that shows them."""
