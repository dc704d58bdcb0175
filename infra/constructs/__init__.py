"""The stack's constructs, one AWS concern a file. Only these modules, `app` and `stack` import the CDK.

`api` is what visitors reach, `model` runs the storyteller, `operations` watches over both; what they share is here.
`kill_switch` and `cloud_build_starter` are the code of the stack's own functions.
"""
