"""What can be known of a stack on AWS without an account: of any recorded Program."""
