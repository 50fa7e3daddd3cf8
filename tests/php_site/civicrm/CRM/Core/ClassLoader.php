<?php

class CRM_Core_ClassLoader {
  public static function singleton() {
    return new self();
  }

  public function register() {
    require_once __DIR__ . '/../../core.php';
  }
}
