"""How to talk to a CiviCRM site."""
