// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// elsewhere are the flags that a .container file says otherwise than by a key or a flag of the same value, or that are
// nothing a unit could have.
var elsewhere = []string{
	"Image", "Command", "Name", "Rm", "CIDFile", "EnvFiles", "LabelFiles", // read when the container was made
	"Restart", "OpenInput", "EntrypointSet", "Pull", "Platform", "Runtime",
}

// Each flag is in the file: one that is added later is not forgotten.
func TestQuadletHasEachFlag(t *testing.T) {
	v := reflect.ValueOf(new(Flags)).Elem()
	empty, err := Quadlet(&Record{Name: "x", Flags: Flags{Image: "i"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		f := Flags{Image: "i", EntrypointSet: name == "Entrypoint"}
		field := reflect.ValueOf(&f).Elem().Field(i)
		switch field.Addr().Interface().(type) {
		case *string:
			field.SetString("value")
		case **string:
			s := "value"
			field.Set(reflect.ValueOf(&s))
		case *[]string:
			field.Set(reflect.ValueOf([]string{"value"}))
		case *map[string]string:
			field.Set(reflect.ValueOf(map[string]string{"value": "x"}))
		case *bool:
			field.SetBool(true)
		case **int:
			n := 7
			field.Set(reflect.ValueOf(&n))
		case *time.Duration:
			field.SetInt(int64(7 * time.Second))
		case *uint64, *uint16:
			field.SetUint(7)
		default:
			field.SetInt(7)
		}
		got, err := Quadlet(&Record{Name: "x", Flags: f}, false)
		said := err != nil || got != empty
		if known := strings.Contains(" "+strings.Join(elsewhere, " ")+" ", " "+name+" "); !said && !known {
			t.Errorf("%s makes no difference", name)
		}
	}
}
