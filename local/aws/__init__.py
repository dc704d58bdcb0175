"""Lambda, API Gateway and DynamoDB on one machine; one service, or one part of one, a file."""
