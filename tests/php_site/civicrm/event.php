<?php
namespace Civi\Core\Event;

/** What a hook's listeners get: its arguments by name, `outcome` among them to be changed. */
class GenericHookEvent {

  private $values;

  public static function create($values) {
    $event = new self();
    $event->values = $values;
    return $event;
  }

  public function &__get($name) {
    return $this->values[$name];
  }

  public function __set($name, $value) {
    $this->values[$name] = $value;
  }

  public function __isset($name) {
    return isset($this->values[$name]);
  }
}
