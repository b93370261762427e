"""Fine-tuning of vision-language models on rows of images, question and answer."""
