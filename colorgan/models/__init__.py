"""The networks."""

EMBEDDED = "efficientnet_lite0"  # the classifier whose weights come with colorgan[router]
