// SPDX-License-Identifier: Apache-2.0

// Package kinds has types that test the generator: one of everything that it
// treats, and one for each thing that it must refuse.
package kinds

import (
	"encoding/json"
	"reflect"
	"time"
)

// Types are the types by name.
var Types = map[string]reflect.Type{
	"Kinds":           reflect.TypeFor[Kinds](),
	"Float":           reflect.TypeFor[Float](),
	"Interface":       reflect.TypeFor[Interface](),
	"Bytes":           reflect.TypeFor[Bytes](),
	"Array":           reflect.TypeFor[Array](),
	"IntKey":          reflect.TypeFor[IntKey](),
	"Time":            reflect.TypeFor[Time](),
	"Raw":             reflect.TypeFor[Raw](),
	"Quoted":          reflect.TypeFor[Quoted](),
	"Nameless":        reflect.TypeFor[Nameless](),
	"EmbeddedPointer": reflect.TypeFor[EmbeddedPointer](),
	"EmbeddedPrivate": reflect.TypeFor[EmbeddedPrivate](),
	"SameName":        reflect.TypeFor[SameName](),
	"OddName":         reflect.TypeFor[OddName](),
	"ZeroMethod":      reflect.TypeFor[ZeroMethod](),
	"ZeroList":        reflect.TypeFor[ZeroList](),
}

// Kinds has a field of every kind that the generator treats.
type Kinds struct {
	Embedded
	NoTag   string
	Skipped string `json:"-"`
	Dash    string `json:"-,"`
	private string

	Bool   Bool   `json:"bool"`
	Int8   int8   `json:"int8"`
	Int16  int16  `json:"int16"`
	Int    int    `json:"int"`
	Uint8  uint8  `json:"uint8"`
	Uint16 uint16 `json:"uint16"`
	Uint   uint   `json:"uint,omitempty"`
	Level  Level  `json:"level"`

	Names      Names                      `json:"names"`
	Lists      [][]string                 `json:"lists"`
	ListOfMaps []map[string]int           `json:"listOfMaps"`
	MapOfLists map[Name][]Inner           `json:"mapOfLists"`
	Tables     Tables                     `json:"tables"`
	Pointers   map[string]*Inner          `json:"pointers"`
	ListPtr    *[]Level                   `json:"listPtr"`
	MapPtr     *map[string]string         `json:"mapPtr,omitempty"`
	Twice      **int16                    `json:"twice"`
	Deep       []map[string]*[]*Inner     `json:"deep"`
	Nested     map[string]map[string]bool `json:"nested,omitempty"`

	EmptyStruct Inner          `json:"emptyStruct,omitempty"`
	ZeroStruct  Inner          `json:"zeroStruct,omitzero"`
	ZeroInt     int            `json:"zeroInt,omitzero"`
	ZeroBool    bool           `json:"zeroBool,omitzero"`
	ZeroString  Name           `json:"zeroString,omitzero"`
	ZeroSlice   []int          `json:"zeroSlice,omitzero"`
	ZeroMap     map[string]int `json:"zeroMap,omitzero"`
	ZeroPtr     *int           `json:"zeroPtr,omitzero"`
	ZeroOrEmpty []int          `json:"zeroOrEmpty,omitempty,omitzero"`
}

type (
	Bool  bool
	Level int32
	Name  string
	Names []Name

	Tables map[Name]map[Name]Level

	Embedded struct {
		First string `json:"first"`
		Inner        // embedded in turn
	}
	Inner struct {
		A int    `json:"a"`
		B string `json:"b,omitempty"`
	}
)

// The types from here on are refused.
type (
	Float           struct{ F float64 }
	Interface       struct{ F []any }
	Bytes           struct{ F []byte }
	Array           struct{ F [2]int }
	IntKey          struct{ F map[int]string }
	Time            struct{ F *time.Time }
	Raw             struct{ F json.RawMessage }
	Nameless        struct{ F struct{ G int } }
	EmbeddedPointer struct{ *Inner }
	EmbeddedPrivate struct{ private }
	Quoted          struct {
		F int `json:",string"`
	}
	SameName struct {
		Inner
		F int `json:"a"`
	}
	OddName struct {
		F int `json:"ü"`
	}
	ZeroMethod struct {
		F Level2 `json:",omitzero"`
	}
	ZeroList struct {
		F Embedded2 `json:",omitzero"`
	}

	private   struct{ F int }
	Level2    int
	Embedded2 struct{ F []int }
)

func (Level2) IsZero() bool { return false }
