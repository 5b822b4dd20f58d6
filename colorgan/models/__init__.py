"""The networks."""

EMBEDDED = "efficientnet_lite0"  # the classifier whose weights come with colorgan[router]
JUDGE = "efficientnet_lite2"  # one that no loss uses; its weights come with colorgan[judge]
