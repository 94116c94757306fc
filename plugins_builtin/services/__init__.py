"""Services on the network: questions, answers that are kept, and patience."""
