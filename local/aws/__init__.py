"""Lambda, API Gateway and DynamoDB on one machine; one service a folder."""
