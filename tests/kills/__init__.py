"""Workers killed before and after each activity of returns and batches."""
